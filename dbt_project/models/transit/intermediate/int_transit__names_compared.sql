-- One row per station that is in service and has no exits, or has exits and is not known.
with known as (

    select distinct
        name_key,
        station_name,
    from {{ ref('int_transit__codes') }}

),

found as (

    select
        name_key,
        exits_count,
    from {{ ref('int_transit__stations_placed') }}

),

compared as (

    select
        if(found.name_key is null, 'missing', 'unknown') as fault,
        coalesce(known.station_name, found.name_key) as station_name,
    from known
    full outer join found on known.name_key = found.name_key
    where known.name_key is null or found.name_key is null

)

select * from compared
