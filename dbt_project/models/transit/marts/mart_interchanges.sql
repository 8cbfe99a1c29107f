-- One row per station with several lines.
with stations as (

    select * from {{ ref('mart_stations') }}

),

interchanges as (

    select
        station_id,
        display_name,
        mrt_codes,
        lines,
    from stations
    where is_interchange

)

select * from interchanges
