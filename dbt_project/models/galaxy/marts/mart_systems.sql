-- One row per system that was ever in a dump, with its current facts and its last change.
-- It is built from its own last published rows. The first publication has no changes.
with run as (

    select * from {{ ref('stg_galaxy__run') }}

),

systems_with_baseline as (

    select
        *,
        not is_new or bool_or(not is_new) over () as is_after_first_publication,
    from {{ ref('int_galaxy__systems_compared') }}

),

changes as (

    select
        *,
        case
            when is_new and is_after_first_publication then 'appeared'
            when len(differences) > 0 then 'changed'
        end as new_change,
    from systems_with_baseline

),

systems as (

    select
        changes.id64,
        changes.name,
        changes.main_star,
        changes.x_ly,
        changes.y_ly,
        changes.z_ly,
        floor(changes.x_ly / {{ var('cube_size_ly', 1000.0) }})::bigint as cube_x,
        floor(changes.y_ly / {{ var('cube_size_ly', 1000.0) }})::bigint as cube_y,
        floor(changes.z_ly / {{ var('cube_size_ly', 1000.0) }})::bigint as cube_z,
        changes.needs_permit,
        coalesce(changes.new_change, changes.old_change) as change,
        if(changes.new_change is null, changes.old_changed_columns, changes.differences)
            as changed_columns,
        case
            when changes.new_change is null then changes.old_previous
            when changes.new_change = 'changed' then changes.old
        end as previous,
        changes.updated_at,
        coalesce(changes.old_first_seen_at, run.as_of) as first_seen_at,
        if(changes.new_change is null, changes.old_changed_at, run.as_of) as changed_at,
        if(changes.new_change is null, changes.old_changed_by_sha256, changes.source_sha256)
            as changed_by_sha256,
        changes.source_sha256,
    from changes
    cross join run

)

select * from systems
