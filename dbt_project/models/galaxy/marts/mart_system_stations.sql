-- One row per system with stations. Names of systems are not unique, so the facts of a system are
-- joined by its id.
with stations as (

    select * from {{ ref('stg_galaxy__stations') }}

),

systems as (

    select * from {{ ref('mart_systems') }}

),

station_counts as (

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

system_stations as (

    select
        station_counts.system_id64,
        coalesce(systems.name, station_counts.system_name) as system_name,
        systems.main_star,
        coalesce(station_counts.station_types, []) as station_types,
        coalesce(systems.x_ly, station_counts.x_ly) as x_ly,
        coalesce(systems.y_ly, station_counts.y_ly) as y_ly,
        coalesce(systems.z_ly, station_counts.z_ly) as z_ly,
        station_counts.stations_count,
        station_counts.carriers_count,
        station_counts.on_bodies_count,
        station_counts.with_large_pads_count,
        station_counts.nearest_ls,
        systems.id64 is not null as is_known_system,
        station_counts.updated_at,
    from station_counts
    left join systems on station_counts.system_id64 = systems.id64

)

select * from system_stations
