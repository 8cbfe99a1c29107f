-- One row per source of the domain.
with source as (

    select * from {{ source('build', 'sources') }}

),

renamed as (

    select
        source,
        title,
        status,
        rows,
        rejected as rows_rejected,
        fetched_at,
        content_at,
        last_good_at,
        source_sha256,
    from source

)

select * from renamed
