-- One row per package: when documents about it were released. Each time at which a state of the
-- package began or ended is a release.
with periods as (

    select * from {{ ref('mart_advisory_state_history') }}

),

changed_advisories as (

    select
        {{ fold_case('package_name') }} as package_key,
        cve_id,
        effective_from as released_at,
    from periods
    union
    select
        {{ fold_case('package_name') }} as package_key,
        cve_id,
        effective_to as released_at,
    from periods
    where effective_to is not null

),

release_times as (

    select
        package_key,
        released_at,
        count(*) as advisories_count,
        min(released_at) over (partition by package_key) as first_released_at,
    from changed_advisories
    group by package_key, released_at

),

releases as (

    select
        package_key,
        first_released_at,
        max(released_at) as last_released_at,
        count(*) - 1 as updates_count,
        list(
            struct_pack(
                released_at := released_at,
                summary := case
                    when released_at = first_released_at then 'First publication.'
                    when advisories_count = 1 then '1 advisory changed.'
                    else advisories_count || ' advisories changed.'
                end
            )
            order by released_at
        ) as revisions,
    from release_times
    group by package_key, first_released_at

)

select * from releases
