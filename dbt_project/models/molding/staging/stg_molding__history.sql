-- One row per version of a row that was ever published, as last published.
with source as (

    select * from {{ source('build', 'history') }}

),

renamed as (

    select
        row_id,
        table_name,
        row_digest,
        effective_from,
        effective_to,
        is_current,
    from source

)

select * from renamed
