-- One row per station; what an interchange is called by several names and modes is one.
with stations as (

    select * from {{ ref('int_transit__stations_placed') }}

),

named as (

    select
        coalesce(station_id, name_key) as station_id,
        concat(
            name_key,
            case
                when has_mrt and has_lrt then ' MRT/LRT STATION'
                when has_lrt then ' LRT STATION'
                else ' MRT STATION'
            end
        ) as official_name,
        coalesce(display_name, name_key) as display_name,
        coalesce(mrt_codes, []) as mrt_codes,
        coalesce(lines, []) as lines,
        if(coalesce(has_mrt, true), 'mrt', 'lrt') as station_type,
        longitude_degrees,
        latitude_degrees,
        exits_count,
        coalesce(len(lines) > 1, false) as is_interchange,
    from stations

)

select * from named
