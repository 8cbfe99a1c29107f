-- One row per station that has exits, with their mean position and the codes of the station.
with exits as (

    select * from {{ ref('int_transit__exits_named') }}

),

codes as (

    select * from {{ ref('int_transit__codes') }}

),

exit_centres as (

    select
        name_key,
        -- The last digit of a sum of floats depends on the order, which DuckDB does not keep.
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

station_lines as (

    select
        name_key,
        line_code,
        min(line_order) as line_order,
    from codes
    where line_code is not null
    group by name_key, line_code

),

line_lists as (

    select
        name_key,
        list(line_code order by line_order) as lines,
    from station_lines
    group by name_key

),

code_lists as (

    select
        name_key,
        any_value(station_name order by line_order, number_on_line) as display_name,
        list(code order by line_order, number_on_line) as mrt_codes,
        -- A code without a number is a hub of the light rail; it is the id only if it is alone.
        first(code order by number_on_line = 0, line_order, number_on_line) as station_id,
        bool_or(mode = 'mrt') as has_mrt,
        bool_or(mode = 'lrt') as has_lrt,
    from codes
    group by name_key

),

stations as (

    select
        exit_centres.name_key,
        code_lists.station_id,
        code_lists.display_name,
        code_lists.mrt_codes,
        line_lists.lines,
        code_lists.has_mrt,
        code_lists.has_lrt,
        exit_centres.longitude_degrees,
        exit_centres.latitude_degrees,
        exit_centres.exits_count,
        exit_centres.evidence,
    from exit_centres
    left join code_lists on exit_centres.name_key = code_lists.name_key
    left join line_lists on exit_centres.name_key = line_lists.name_key

)

select * from stations
