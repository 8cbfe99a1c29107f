-- One row per system with scanned bodies: counts of the bodies by kind.
with bodies as (

    select * from {{ ref('int_galaxy__bodies_dumped') }}

),

body_counts as (

    select
        system_id64,
        any_value(system_name order by updated_at desc, body_id) as system_name,
        count(*) filter (where body_type = 'Star') as stars_count,
        count(*) filter (where body_type = 'Planet') as planets_count,
        count(*) filter (where is_landable) as landable_count,
        count(*) filter (where sub_type = 'Earth-like world') as earth_likes_count,
        count(*) filter (where terraforming_state = 'Terraformable') as terraformable_count,
        max(surface_temperature_k) as hottest_k,
        max(updated_at) as updated_at,
    from bodies
    group by system_id64

)

select * from body_counts
