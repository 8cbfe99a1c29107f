-- One row per system that was ever reported; none while the source is switched off.
with source as (

    select * from {{ source('galaxy', 'systems_all') }}

),

renamed as (

    select
        id64,
        name,
        main_star,
        x as x_ly,
        y as y_ly,
        z as z_ly,
        needs_permit,
        updated_at,
        source_sha256,
        source_row,
    from source

)

select * from renamed
