-- One row per stretch between two stops of a line, in the order of codes. A declared one comes
-- after the code that it starts from, or from a hub before the branch that it leads to.
with stops as (

    select * from {{ ref('mart_station_codes') }}

),

links as (

    select * from {{ ref('line_links') }}

),

in_order as (

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
    from in_order
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
        origin.line_code,
        origin.line_name,
        row_number() over (
            partition by origin.line_code
            order by
                if(origin.number_on_line = 0, target.prefix, origin.prefix),
                origin.number_on_line,
                stretches.is_declared,
                target.number_on_line
        ) as edge_order,
        origin.station_id as from_station_id,
        target.station_id as to_station_id,
        stretches.from_code,
        stretches.to_code,
        origin.display_name as from_name,
        target.display_name as to_name,
        {{ haversine_m(
            'a.longitude_degrees', 'a.latitude_degrees', 'b.longitude_degrees', 'b.latitude_degrees'
        ) }} as distance_m,
        stretches.is_declared,
        a.longitude_degrees as from_longitude,
        a.latitude_degrees as from_latitude,
        b.longitude_degrees as to_longitude,
        b.latitude_degrees as to_latitude,
        origin.color,
        origin.line_order,
    from stretches
    inner join stops as origin on stretches.from_code = origin.code
    inner join stops as target on stretches.to_code = target.code
    inner join {{ ref('mart_stations') }} as a on origin.station_id = a.station_id
    inner join {{ ref('mart_stations') }} as b on target.station_id = b.station_id

)

select * from edges
