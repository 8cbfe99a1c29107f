-- One row per station, in space and on bodies.
with source as (

    select * from {{ source('galaxy', 'stations') }}

),

renamed as (

    select
        market_id,
        system_id64,
        body_id,
        name as station_name,
        system_name,
        body_name,
        carrier_name,
        type as station_type,
        controlling_faction,
        allegiance,
        government,
        primary_economy,
        services,
        system_x as system_x_ly,
        system_y as system_y_ly,
        system_z as system_z_ly,
        distance_to_arrival_ls,
        latitude as latitude_degrees,
        longitude as longitude_degrees,
        large_pads as large_pads_count,
        medium_pads as medium_pads_count,
        small_pads as small_pads_count,
        updated_at,
        source_sha256,
        source_row,
    from source

)

select * from renamed
