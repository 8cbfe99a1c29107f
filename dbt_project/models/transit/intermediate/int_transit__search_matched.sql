-- One row per station with a match in the map service: the nearest building that has the name or a
-- code of the station. A building farther away than match_distance_m is another place.
with buildings as (

    select
        *,
        regexp_replace(upper(trim(building_name)), '\s+(MRT|LRT)\s+STATION.*$', '') as name_key,
        regexp_extract_all(upper(building_name), '\b[A-Z]{2,3}[0-9]+\b') as building_codes,
    from {{ ref('stg_transit__station_search') }}

),

stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

candidates as (

    select
        stations.name_key,
        buildings.address,
        buildings.postal_code,
        if(list_has_any(buildings.building_codes, stations.mrt_codes), 'code', 'name')
            as matched_by,
        {{ haversine_m(
            'buildings.longitude_degrees', 'buildings.latitude_degrees',
            'stations.longitude_degrees', 'stations.latitude_degrees'
        ) }} as distance_m,
    from stations
    inner join buildings
        on
            stations.name_key = buildings.name_key
            or list_has_any(buildings.building_codes, stations.mrt_codes)

),

nearest_buildings as (

    select *
    from candidates
    where distance_m <= {{ var('match_distance_m', 800.0) }}
    qualify row_number() over (
        partition by name_key
        order by matched_by, distance_m, address
    ) = 1

)

select * from nearest_buildings
