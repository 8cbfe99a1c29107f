-- One row per release of the distribution. The target releases have a target_rank, newest first.
with releases as (

    select * from {{ ref('distro_releases') }}

),

targets as (

    select
        unnest({{ var('target_releases', ['sid', 'forky', 'trixie', 'bookworm']) }}) as release,
        generate_subscripts(
            {{ var('target_releases', ['sid', 'forky', 'trixie', 'bookworm']) }}, 1
        ) as target_rank,

),

ranked_releases as (

    select
        coalesce(releases.release, targets.release) as release,
        releases.ecosystem,
        coalesce(releases.label, targets.release) as label,
        coalesce(releases.release_order, 0) as release_order,
        coalesce(releases.is_rolling, false) as is_rolling,
        targets.target_rank,
    from releases
    full outer join targets on releases.release = targets.release

)

select * from ranked_releases
