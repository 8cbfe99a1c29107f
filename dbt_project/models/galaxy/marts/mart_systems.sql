-- One row per system that a dump ever named, as it is known now, with its last change. Built from
-- its own last published rows; what the first publication finds is no change.
with run as (

    select * from {{ ref('stg_galaxy__run') }}

),

compared as (

    select
        *,
        not is_new or bool_or(not is_new) over () as is_after_the_first,
    from {{ ref('int_galaxy__systems_compared') }}

),

caused as (

    select
        *,
        case
            when is_new and is_after_the_first then 'appeared'
            when len(differences) > 0 then 'changed'
        end as new_change,
    from compared

),

systems as (

    select
        caused.id64,
        caused.name,
        caused.main_star,
        caused.x_ly,
        caused.y_ly,
        caused.z_ly,
        floor(caused.x_ly / {{ var('cube_size_ly', 1000) }})::bigint as cube_x,
        floor(caused.y_ly / {{ var('cube_size_ly', 1000) }})::bigint as cube_y,
        floor(caused.z_ly / {{ var('cube_size_ly', 1000) }})::bigint as cube_z,
        caused.needs_permit,
        coalesce(caused.new_change, caused.old_change) as change,
        if(caused.new_change is null, caused.old_changed_columns, caused.differences)
            as changed_columns,
        case
            when caused.new_change is null then caused.old_previous
            when caused.new_change = 'changed' then caused.old
        end as previous,
        caused.updated_at,
        coalesce(caused.old_first_seen_at, run.as_of) as first_seen_at,
        if(caused.new_change is null, caused.old_changed_at, run.as_of) as changed_at,
        if(caused.new_change is null, caused.old_changed_by_sha256, caused.source_sha256)
            as changed_by_sha256,
        caused.source_sha256,
    from caused
    cross join run

)

select * from systems
