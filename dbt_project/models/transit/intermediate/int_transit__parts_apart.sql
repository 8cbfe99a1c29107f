-- One row per part of a station that has a name of its own in the source, with its distance from
-- the nearest exit of the other parts. Parts belong together by name; the distance is a check.
with exits as (

    select
        *,
        upper(trim(raw_station_name)) as part,
    from {{ ref('int_transit__exits_named') }}

),

part_distances as (

    select
        part_exits.name_key,
        part_exits.part,
        min({{ haversine_m(
            'part_exits.longitude_degrees', 'part_exits.latitude_degrees',
            'other_exits.longitude_degrees', 'other_exits.latitude_degrees'
        ) }}) as distance_m,
    from exits as part_exits
    inner join exits as other_exits
        on part_exits.name_key = other_exits.name_key and part_exits.part != other_exits.part
    group by part_exits.name_key, part_exits.part

)

select * from part_distances
