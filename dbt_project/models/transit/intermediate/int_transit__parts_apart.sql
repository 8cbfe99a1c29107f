-- One row per part of a station that is told of under a name of its own, with its distance from the
-- nearest exit of the rest. The name decides what belongs together; distance only confirms it.
with exits as (

    select
        *,
        upper(trim(served_name)) as part,
    from {{ ref('int_transit__exits_named') }}

),

apart as (

    select
        mine.name_key,
        mine.part,
        min({{ haversine_m(
            'mine.longitude_degrees', 'mine.latitude_degrees',
            'rest.longitude_degrees', 'rest.latitude_degrees'
        ) }}) as distance_m,
    from exits as mine
    inner join exits as rest on mine.name_key = rest.name_key and mine.part != rest.part
    group by mine.name_key, mine.part

)

select * from apart
