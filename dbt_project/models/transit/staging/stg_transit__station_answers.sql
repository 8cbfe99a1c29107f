-- One row per claim of an answer: about a station, an exit, a platform or a bus stop.
with source as (

    select * from {{ source('transit', 'station_answers') }}

),

renamed as (

    select
        station_name as requested_name,
        exit_code as claimed_exit_code,
        case
            when exit_code is null then 'station'
            when platform_code is not null then 'platform'
            when bus_stop_code is not null then 'bus stop'
            else 'exit'
        end as claim,
        extraction_confidence,
        accessibility_notes,
        accessibility,
        nearby_landmarks,
        platform_code,
        towards_code,
        line_code as claimed_line_code,
        bus_stop_code,
        bus_services,
        answered_at,
        source_sha256,
        source_row,
    from source

)

select * from renamed
