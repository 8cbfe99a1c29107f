-- One row per system that was ever published, as last published.
with source as (

    select * from {{ source('build', 'history') }}

),

renamed as (

    select
        id64,
        name,
        main_star,
        x_ly,
        y_ly,
        z_ly,
        needs_permit,
        change,
        changed_columns,
        previous,
        updated_at,
        first_seen_at,
        changed_at,
        changed_by_sha256,
        source_sha256,
    from source

)

select * from renamed
