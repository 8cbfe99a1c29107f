-- One row per system of the last published set or of a dump, with its old and its new facts.
-- A report of a dump counts unless it is older than the published one. A dump does not cover all
-- systems and all facts, so a system or a fact that it leaves out keeps its published value.
with history as (

    select * from {{ ref('stg_galaxy__history') }}

),

dumps as (

    select * from {{ ref('int_galaxy__systems_dumped') }}

),

new_facts as (

    select
        coalesce(dumps.id64, history.id64) as id64,
        history.id64 is null as is_new,
        coalesce(dumps.updated_at >= history.updated_at, dumps.id64 is not null) as is_reported,
        if(is_reported, dumps.name, history.name) as name,
        if(is_reported, dumps.x_ly, history.x_ly) as x_ly,
        if(is_reported, dumps.y_ly, history.y_ly) as y_ly,
        if(is_reported, dumps.z_ly, history.z_ly) as z_ly,
        if(is_reported, coalesce(dumps.main_star, history.main_star), history.main_star)
            as main_star,
        if(is_reported, coalesce(dumps.needs_permit, history.needs_permit), history.needs_permit)
            as needs_permit,
        if(is_reported, dumps.updated_at, history.updated_at) as updated_at,
        if(is_reported, dumps.source_sha256, history.source_sha256) as source_sha256,
        struct_pack(
            name := history.name,
            x_ly := history.x_ly,
            y_ly := history.y_ly,
            z_ly := history.z_ly,
            main_star := history.main_star,
            needs_permit := history.needs_permit
        ) as old,
        history.change as old_change,
        history.changed_columns as old_changed_columns,
        history.previous as old_previous,
        history.first_seen_at as old_first_seen_at,
        history.changed_at as old_changed_at,
        history.changed_by_sha256 as old_changed_by_sha256,
    from history
    full outer join dumps on history.id64 = dumps.id64

),

differences as (

    select
        *,
        case
            when is_new then []::varchar[]
            else list_filter(
                [
                    if(name is distinct from old.name, 'name', null),
                    if(x_ly is distinct from old.x_ly, 'x_ly', null),
                    if(y_ly is distinct from old.y_ly, 'y_ly', null),
                    if(z_ly is distinct from old.z_ly, 'z_ly', null),
                    if(main_star is distinct from old.main_star, 'main_star', null),
                    if(needs_permit is distinct from old.needs_permit, 'needs_permit', null),
                ],
                lambda changed: changed is not null
            )
        end as differences,
    from new_facts

)

select * from differences
