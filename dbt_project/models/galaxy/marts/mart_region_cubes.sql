-- One row per cube of space with a known system: counts of its systems and stars.
with systems as (

    select * from {{ ref('mart_systems') }}

),

cubes as (

    select
        cube_x,
        cube_y,
        cube_z,
        concat_ws('/', cube_x, cube_y, cube_z) as cube,
        count(*) as systems_count,
        count(main_star) as scanned_count,
        count(distinct main_star) as star_classes_count,
        count(*) filter (where main_star in ('Neutron Star', 'Black Hole')) as remnants_count,
        count(*) filter (where needs_permit) as permit_count,
        min(sqrt(power(x_ly, 2) + power(y_ly, 2) + power(z_ly, 2))) as nearest_to_sol_ly,
        max(updated_at) as updated_at,
    from systems
    group by cube_x, cube_y, cube_z

)

select * from cubes
