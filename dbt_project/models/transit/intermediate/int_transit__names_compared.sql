-- One row per station that is in service and has no exits, or has exits and is in no seed.
with stations_in_service as (

    select distinct
        name_key,
        station_name,
    from {{ ref('int_transit__codes') }}

),

stations_with_exits as (

    select
        name_key,
        exits_count,
    from {{ ref('int_transit__stations_placed') }}

),

differences as (

    select
        if(stations_with_exits.name_key is null, 'missing', 'unknown') as fault,
        coalesce(stations_in_service.station_name, stations_with_exits.name_key) as station_name,
    from stations_in_service
    full outer join stations_with_exits
        on stations_in_service.name_key = stations_with_exits.name_key
    where stations_in_service.name_key is null or stations_with_exits.name_key is null

)

select * from differences
