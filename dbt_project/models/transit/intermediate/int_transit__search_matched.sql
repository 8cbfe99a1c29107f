-- One row per station that the map service knows: the nearest building of the same name, or with
-- one of its codes, within the distance that confirms a match.
with found as (

    select
        *,
        regexp_replace(upper(trim(found_name)), '\s+(MRT|LRT)\s+STATION.*$', '') as name_key,
        regexp_extract_all(upper(found_name), '\b[A-Z]{2,3}[0-9]+\b') as found_codes,
    from {{ ref('stg_transit__station_search') }}

),

stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

measured as (

    select
        stations.name_key,
        found.address,
        found.postal_code,
        if(list_has_any(found.found_codes, stations.mrt_codes), 'code', 'name') as matched_by,
        {{ haversine_m(
            'found.longitude_degrees', 'found.latitude_degrees',
            'stations.longitude_degrees', 'stations.latitude_degrees'
        ) }} as distance_m,
    from stations
    inner join found
        on
            stations.name_key = found.name_key
            or list_has_any(found.found_codes, stations.mrt_codes)

),

nearest as (

    select *
    from measured
    where distance_m <= {{ var('match_distance_m', 800) }}
    qualify row_number() over (
        partition by name_key
        order by matched_by, distance_m, address
    ) = 1

)

select * from nearest
