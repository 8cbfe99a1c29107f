-- One row per stretch between two stops of a line, in the order of codes. The seed line_links adds
-- stretches that the codes do not show, each after the stretch from the same code.
with stops as (

    select * from {{ ref('mart_station_codes') }}

),

stations as (

    select * from {{ ref('mart_stations') }}

),

links as (

    select * from {{ ref('line_links') }}

),

consecutive_codes as (

    select
        code as from_code,
        lead(code) over (partition by prefix order by number_on_line) as to_code,
    from stops

),

stretches as (

    select
        from_code,
        to_code,
        false as is_declared,
    from consecutive_codes
    where to_code is not null
    union all
    select
        from_code,
        to_code,
        true as is_declared,
    from links

),

edges as (

    select
        from_stop.line_code,
        from_stop.line_name,
        row_number() over (
            partition by from_stop.line_code
            order by
                -- A stretch from a hub, whose code has no number, goes before its branch.
                if(from_stop.number_on_line = 0, to_stop.prefix, from_stop.prefix),
                from_stop.number_on_line,
                stretches.is_declared,
                to_stop.number_on_line
        ) as edge_order,
        from_stop.station_id as from_station_id,
        to_stop.station_id as to_station_id,
        stretches.from_code,
        stretches.to_code,
        from_stop.display_name as from_name,
        to_stop.display_name as to_name,
        {{ haversine_m(
            'from_station.longitude_degrees', 'from_station.latitude_degrees',
            'to_station.longitude_degrees', 'to_station.latitude_degrees'
        ) }} as distance_m,
        stretches.is_declared,
        from_station.longitude_degrees as from_longitude,
        from_station.latitude_degrees as from_latitude,
        to_station.longitude_degrees as to_longitude,
        to_station.latitude_degrees as to_latitude,
        from_stop.color,
        from_stop.line_order,
    from stretches
    inner join stops as from_stop on stretches.from_code = from_stop.code
    inner join stops as to_stop on stretches.to_code = to_stop.code
    inner join stations as from_station on from_stop.station_id = from_station.station_id
    inner join stations as to_station on to_stop.station_id = to_station.station_id

)

select * from edges
