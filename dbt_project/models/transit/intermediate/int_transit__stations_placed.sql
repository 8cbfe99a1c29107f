-- One row per station that has exits: in the middle of them, with the codes that bear its name.
with exits as (

    select * from {{ ref('int_transit__exits_named') }}

),

codes as (

    select * from {{ ref('int_transit__codes') }}

),

placed as (

    select
        name_key,
        -- In one order: the last digit of a sum depends on it.
        avg(longitude_degrees order by longitude_degrees) as longitude_degrees,
        avg(latitude_degrees order by latitude_degrees) as latitude_degrees,
        count(*) as exits_count,
        struct_pack(
            exits := list(concat(exit_id, ' (feature ', source_row, ')') order by exit_id),
            source_sha256 := any_value(source_sha256)
        ) as evidence,
    from exits
    group by name_key

),

lines_of_stations as (

    select
        name_key,
        line_code,
        min(line_order) as line_order,
    from codes
    where line_code is not null
    group by name_key, line_code

),

lined as (

    select
        name_key,
        list(line_code order by line_order) as lines,
    from lines_of_stations
    group by name_key

),

coded as (

    select
        name_key,
        any_value(station_name order by line_order, number_on_line) as display_name,
        list(code order by line_order, number_on_line) as mrt_codes,
        first(code order by number_on_line = 0, line_order, number_on_line) as station_id,
        bool_or(mode = 'mrt') as has_mrt,
        bool_or(mode = 'lrt') as has_lrt,
    from codes
    group by name_key

),

stations as (

    select
        placed.name_key,
        coded.station_id,
        coded.display_name,
        coded.mrt_codes,
        lined.lines,
        coded.has_mrt,
        coded.has_lrt,
        placed.longitude_degrees,
        placed.latitude_degrees,
        placed.exits_count,
        placed.evidence,
    from placed
    left join coded on placed.name_key = coded.name_key
    left join lined on placed.name_key = lined.name_key

)

select * from stations
