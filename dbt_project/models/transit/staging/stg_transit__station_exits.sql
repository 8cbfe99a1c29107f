-- One row per exit in the producer's file.
with source as (

    select * from {{ source('transit', 'station_exits') }}

),

renamed as (

    select
        station_name as raw_station_name,
        exit_code as raw_exit_code,
        longitude as longitude_degrees,
        latitude as latitude_degrees,
        strptime(updated, '%Y%m%d%H%M%S') as updated_local,
        source_sha256,
        source_row,
    from source

)

select * from renamed
