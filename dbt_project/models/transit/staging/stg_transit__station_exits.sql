-- One row per exit, as the producer names it.
with source as (

    select * from {{ source('transit', 'station_exits') }}

),

renamed as (

    select
        station_name as served_name,
        exit_code as served_exit_code,
        longitude as longitude_degrees,
        latitude as latitude_degrees,
        strptime(updated, '%Y%m%d%H%M%S') as updated_local,
        source_sha256,
        source_row,
    from source

)

select * from renamed
