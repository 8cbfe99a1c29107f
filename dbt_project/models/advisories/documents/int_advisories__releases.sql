-- One row per package: when documents about it were released. Each time at which a state of the
-- package began or ended is a release.
with periods as (

    select * from {{ ref('mart_advisory_state_history') }}

),

release_times as (

    select
        {{ fold_case('package_name') }} as package_key,
        effective_from as released_at,
    from periods
    union
    select
        {{ fold_case('package_name') }} as package_key,
        effective_to as released_at,
    from periods
    where effective_to is not null

),

releases as (

    select
        package_key,
        min(released_at) as first_released_at,
        max(released_at) as last_released_at,
        count(*) - 1 as updates_count,
    from release_times
    group by package_key

)

select * from releases
