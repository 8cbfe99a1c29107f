-- One row per system that was reported within the last day.
with source as (

    select * from {{ source('galaxy', 'systems') }}

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
