-- One row: the network as nodes, edges and interchanges.
with stations as (

    select * from {{ ref('mart_stations') }}

),

edges as (

    select * from {{ ref('mart_transit_edges') }}

),

interchanges as (

    select * from {{ ref('mart_interchanges') }}

),

lines as (

    select distinct
        line_code,
        line_name,
        mode,
        color,
        line_order,
    from {{ ref('mart_station_codes') }}

),

latest_update as (

    select max(updated_local)::date::varchar as data_version
    from {{ ref('stg_transit__station_exits') }}

),

node_list as (

    select
        list(
            struct_pack(
                station_id := station_id,
                name := display_name,
                codes := mrt_codes,
                lines := lines,
                lat := latitude_degrees,
                lng := longitude_degrees
            )
            order by station_id
        ) as nodes,
    from stations

),

edge_list as (

    select
        list(
            struct_pack(
                line := line_code,
                "order" := edge_order,
                "from" := from_station_id,
                "to" := to_station_id,
                from_code := from_code,
                to_code := to_code,
                distance_m := round(distance_m, 1)
            )
            order by line_order, edge_order
        ) as edges,
    from edges

),

line_list as (

    select
        list(
            struct_pack(code := line_code, name := line_name, mode := mode, color := color)
            order by line_order
        ) as lines,
    from lines

),

interchange_list as (

    select
        list(
            struct_pack(station_id := station_id, codes := mrt_codes, lines := lines)
            order by station_id
        ) as interchanges,
    from interchanges

),

graph as (

    select
        'transit graph' as title,
        latest_update.data_version,
        coalesce(line_list.lines, []) as lines,
        node_list.nodes,
        coalesce(edge_list.edges, []) as edges,
        coalesce(interchange_list.interchanges, []) as interchanges,
    from node_list
    cross join edge_list
    cross join interchange_list
    cross join line_list
    cross join latest_update

)

select * from graph
