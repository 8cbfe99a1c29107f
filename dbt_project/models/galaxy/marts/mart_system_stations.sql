-- One row per system with stations, joined to what is known of the system by its id alone.
with stations as (

    select * from {{ ref('stg_galaxy__stations') }}

),

systems as (

    select * from {{ ref('mart_systems') }}

),

counted as (

    select
        system_id64,
        any_value(system_name order by updated_at desc, market_id) as system_name,
        any_value(system_x_ly order by updated_at desc, market_id) as x_ly,
        any_value(system_y_ly order by updated_at desc, market_id) as y_ly,
        any_value(system_z_ly order by updated_at desc, market_id) as z_ly,
        count(*) as stations_count,
        count(*) filter (where station_type = 'Drake-Class Carrier') as carriers_count,
        count(*) filter (where body_id is not null) as on_bodies_count,
        count(*) filter (where large_pads_count > 0) as with_large_pads_count,
        min(distance_to_arrival_ls) as nearest_ls,
        list_sort(list(distinct station_type)) as station_types,
        max(updated_at) as updated_at,
    from stations
    group by system_id64

),

described as (

    select
        counted.system_id64,
        coalesce(systems.name, counted.system_name) as system_name,
        systems.main_star,
        coalesce(counted.station_types, []) as station_types,
        coalesce(systems.x_ly, counted.x_ly) as x_ly,
        coalesce(systems.y_ly, counted.y_ly) as y_ly,
        coalesce(systems.z_ly, counted.z_ly) as z_ly,
        counted.stations_count,
        counted.carriers_count,
        counted.on_bodies_count,
        counted.with_large_pads_count,
        counted.nearest_ls,
        systems.id64 is not null as is_known_system,
        counted.updated_at,
    from counted
    left join systems on counted.system_id64 = systems.id64

)

select * from described
