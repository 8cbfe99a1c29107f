-- One row per system that the current dumps added or changed, with its facts before and after.
with systems as (

    select * from {{ ref('mart_systems') }}

),

dumps as (

    select distinct source_sha256 from {{ ref('int_galaxy__systems_dumped') }}

),

changes as (

    select
        systems.id64,
        systems.change,
        systems.changed_columns,
        systems.previous.name as old_name,
        systems.name as new_name,
        systems.previous.main_star as old_main_star,
        systems.main_star as new_main_star,
        systems.previous.needs_permit as old_needs_permit,
        systems.needs_permit as new_needs_permit,
        sqrt(
            power(systems.x_ly - systems.previous.x_ly, 2)
            + power(systems.y_ly - systems.previous.y_ly, 2)
            + power(systems.z_ly - systems.previous.z_ly, 2)
        ) as moved_ly,
        systems.updated_at,
        systems.changed_at,
        systems.changed_by_sha256,
    from systems
    inner join dumps on systems.changed_by_sha256 = dumps.source_sha256

)

select * from changes
