-- One row per advisory and source: the verdict over all target releases, and the release statement
-- that gives it. A newer release counts as open if the joined statements of all sources say so.
-- Of several verdicts the first one in this order counts: fixed, fixed_unproven, not_affected,
-- not_affected_unsure, wont_fix, fixed_elsewhere, open.
with statements as (

    select * from {{ ref('int_advisories__release_statements') }}
    where statement != 'undetermined'

),

undetermined_releases as (

    select
        advisory_id,
        min(target_rank) as newest_undetermined_rank,
    from {{ ref('int_advisories__release_statements') }}
    where statement = 'undetermined'
    group by advisory_id

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

vendor_newest as (

    select * from {{ ref('int_advisories__vendor_newest') }}

),

statements_with_vendor as (

    select
        statements.*,
        statements.target_rank is not null as is_target,
        statements.statement = 'fixed' as is_fix,
        statements.version_key > vendor_newest.newest_key as is_above_vendor,
        undetermined_releases.newest_undetermined_rank,
        -- The vendor still lists the id although it ships this fix already, or a rebuild of its
        -- own, to which the versions of the distribution do not apply.
        universe.is_listed
        and universe.vendor_version is null
        and not universe.is_vendor_sentinel
        and (
            vendor_newest.is_newest_rebuild
            or statements.version_key <= vendor_newest.newest_key
        ) as is_unproven,
    from statements
    inner join universe on statements.advisory_id = universe.advisory_id
    left join vendor_newest on statements.package_key = vendor_newest.package_key
    left join undetermined_releases
        on statements.advisory_id = undetermined_releases.advisory_id

),

statements_with_ranks as (

    select
        *,
        min(target_rank) over of_advisory as newest_target_rank,
        min(target_rank) filter (where statement = 'open') over of_advisory as newest_open_rank,
        bool_or(is_target and is_fix) over (partition by advisory_id, source)
            as is_fixed_in_target,
        bool_or(is_target and not is_rolling) over of_advisory as is_in_stable_target,
    from statements_with_vendor
    window of_advisory as (partition by advisory_id)

),

statements_with_wont_fix as (

    select
        *,
        -- The rolling release has no security advisories to say that it is left unfixed, so it has
        -- no vote where a stable target release has one.
        not is_rolling or not is_in_stable_target as has_wont_fix_vote,
        bool_and(wont_fix_reason is not null) filter (
            where is_target and (not is_rolling or not is_in_stable_target)
        ) over (partition by advisory_id) as is_wont_fix,
    from statements_with_ranks

),

statements_with_verdict as (

    select
        *,
        case
            -- A fix counts only if no newer target release is open: an upgrade would lose it.
            when is_target and is_fix and target_rank < coalesce(newest_open_rank, 1000)
                then case when coalesce(is_unproven, false) then 'fixed_unproven' else 'fixed' end
            when
                statement = 'not_affected'
                and target_rank = newest_target_rank
                and newest_open_rank is null
                then case
                    when newest_undetermined_rank < target_rank then 'not_affected_unsure'
                    else 'not_affected'
                end
            when is_target and has_wont_fix_vote and is_wont_fix then 'wont_fix'
            when is_fix and not is_fixed_in_target then 'fixed_elsewhere'
            else 'open'
        end as verdict,
    from statements_with_wont_fix

),

statements_with_order as (

    select
        *,
        list_position(
            [
                'fixed',
                'fixed_unproven',
                'not_affected',
                'not_affected_unsure',
                'wont_fix',
                'fixed_elsewhere',
                'open',
            ],
            verdict
        ) as verdict_order,
        verdict != 'open'
        or (statement = 'open' and (is_target or newest_open_rank is null)) as is_in_release_labels,
    from statements_with_verdict

),

ranked_statements as (

    select
        *,
        row_number() over best_first as rank,
        string_agg(
            release_label || coalesce(' (' || wont_fix_reason || ')', ''), ', '
            order by target_rank nulls last, release_order desc, release
        ) filter (where is_in_release_labels) over of_verdict as release_labels,
    from statements_with_order
    window of_verdict as (
        partition by advisory_id, source, verdict
    ),
    best_first as (
        partition by advisory_id, source
        order by
            verdict_order,
            -- The lowest fix that is above the vendor's newest version is the shortest upgrade.
            verdict = 'fixed' and coalesce(is_above_vendor, false) desc,
            case when verdict = 'fixed' and is_above_vendor then version_key end,
            statement != 'open',
            target_rank nulls last,
            release_order desc,
            release
    )

),

verdicts as (

    select
        advisory_id,
        package_key,
        source,
        verdict,
        case when is_fix then fixed_version end as fixed_version,
        release,
        release_label,
        release_labels,
        newest_open_rank,
        ecosystem,
        record_id,
        record_modified_at,
        source_record,
    from ranked_statements
    where rank = 1

)

select * from verdicts
