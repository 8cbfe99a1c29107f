-- One row per name and building that the map service returns for it.
with source as (

    select * from {{ source('transit', 'station_search') }}

),

renamed as (

    select
        station_name as searched_name,
        found_name as building_name,
        address,
        nullif(postal_code, 'NIL') as postal_code,
        longitude as longitude_degrees,
        latitude as latitude_degrees,
        answered_at,
        source_sha256,
        source_row,
    from source

)

select * from renamed
