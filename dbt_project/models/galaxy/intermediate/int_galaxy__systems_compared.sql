-- One row per system of the last published set or of a dump: what was known, and what is now.
-- A dump counts where its report is not older; what it leaves out stays known, as absence says
-- nothing.
with published as (

    select * from {{ ref('stg_galaxy__history') }}

),

dumped as (

    select * from {{ ref('int_galaxy__systems_dumped') }}

),

known as (

    select
        coalesce(dumped.id64, published.id64) as id64,
        published.id64 is null as is_new,
        coalesce(dumped.updated_at >= published.updated_at, dumped.id64 is not null) as is_told,
        if(is_told, dumped.name, published.name) as name,
        if(is_told, dumped.x_ly, published.x_ly) as x_ly,
        if(is_told, dumped.y_ly, published.y_ly) as y_ly,
        if(is_told, dumped.z_ly, published.z_ly) as z_ly,
        if(is_told, coalesce(dumped.main_star, published.main_star), published.main_star)
            as main_star,
        if(is_told, coalesce(dumped.needs_permit, published.needs_permit), published.needs_permit)
            as needs_permit,
        if(is_told, dumped.updated_at, published.updated_at) as updated_at,
        if(is_told, dumped.source_sha256, published.source_sha256) as source_sha256,
        struct_pack(
            name := published.name,
            x_ly := published.x_ly,
            y_ly := published.y_ly,
            z_ly := published.z_ly,
            main_star := published.main_star,
            needs_permit := published.needs_permit
        ) as old,
        published.change as old_change,
        published.changed_columns as old_changed_columns,
        published.previous as old_previous,
        published.first_seen_at as old_first_seen_at,
        published.changed_at as old_changed_at,
        published.changed_by_sha256 as old_changed_by_sha256,
    from published
    full outer join dumped on published.id64 = dumped.id64

),

compared as (

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
    from known

)

select * from compared
