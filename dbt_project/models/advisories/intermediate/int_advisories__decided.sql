-- One row per advisory: its best-ranked claim and the decision that follows from it.
{%- set explanation_values = {
    'version': 'version',
    'record_url': 'record_url',
    'source_label': 'source_label',
    'release_label': 'release_label',
    'unproven_because': 'unproven_reason',
    'vendor_version': 'other_vendor_version',
    'cve_id': 'cve_id',
    'package_name': 'package_name',
    'detail': 'detail',
} %}
with judged_claims as (

    select * from {{ ref('int_advisories__judged') }}

),

rules as (

    select * from {{ ref('decision_rules') }}

),

vendor_newest as (

    select * from {{ ref('int_advisories__vendor_newest') }}

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

upstream_rows as (

    select * from {{ ref('int_advisories__upstream_rows') }}

),

targets as (

    select * from {{ ref('int_advisories__target_releases') }}
    where target_rank is not null

),

next_states as (

    select
        advisory_id,
        min(rank) as next_state_rank,
    from judged_claims
    where state != decided_state
    group by advisory_id

),

source_verdicts as (

    select
        claims.advisory_id,
        claims.source,
        claims.source_label,
        claims.source in (select distinct u.source from upstream_rows as u) as is_upstream,
        bool_or(claims.verdict in ('won', 'agreed')) as contributes,
        bool_or(claims.verdict = 'lost') and not contributes as dissents,
        bool_or(claims.rank < next_states.next_state_rank) as precedes_next_state,
        max(case when claims.rank = next_states.next_state_rank then claims.state end)
            as next_state,
        max(
            case
                when claims.rank = next_states.next_state_rank and claims.state = 'fixed'
                    then claims.version
            end
        ) as next_version,
        min(claims.newest_open_rank) as newest_open_rank,
    from judged_claims as claims
    left join next_states on claims.advisory_id = next_states.advisory_id
    group by claims.advisory_id, claims.source, claims.source_label

),

-- Advisories of which several upstreams speak. What counts of one of them depends on the other, so
-- the state without one of them is not that of the next claim.
joined_advisories as (

    select universe.advisory_id
    from universe
    inner join upstream_rows
        on
            universe.package_key = upstream_rows.package_key
            and universe.cve_id = upstream_rows.cve_id
    group by universe.advisory_id
    having count(distinct upstream_rows.source) > 1

),

advisory_sources as (

    select
        source_verdicts.advisory_id,
        array_agg(source_verdicts.source order by source_verdicts.source)
        filter (where source_verdicts.contributes) as contributing_sources,
        coalesce(
            array_agg(source_verdicts.source order by source_verdicts.source)
            filter (where source_verdicts.dissents), []
        ) as dissenting_sources,
        string_agg(source_verdicts.source_label, ', ' order by source_verdicts.source)
        filter (where source_verdicts.precedes_next_state) as supporters,
        max(source_verdicts.next_state) as next_state,
        max(source_verdicts.next_version) as next_version,
        min(source_verdicts.newest_open_rank) as newest_open_rank,
        bool_or(joined_advisories.advisory_id is not null)
        and count(*) filter (
            where source_verdicts.precedes_next_state and source_verdicts.is_upstream
        ) = 1 as is_next_state_unsure,
    from source_verdicts
    left join joined_advisories on source_verdicts.advisory_id = joined_advisories.advisory_id
    group by source_verdicts.advisory_id

),

winning_claims as (

    select
        claims.*,
        rules.explanation_template,
        rules.flip_template,
        advisory_sources.contributing_sources,
        advisory_sources.dissenting_sources,
        coalesce(advisory_sources.supporters, claims.source_label) as supporters,
        case
            when not claims.is_listed then 'unlisted'
            when not advisory_sources.is_next_state_unsure then advisory_sources.next_state
        end as next_state,
        case when not advisory_sources.is_next_state_unsure then advisory_sources.next_version end
            as next_version,
        case
            when claims.is_listed and advisory_sources.is_next_state_unsure then 'Is decided again'
        end as undecided,
        -- A fix in the distribution proves nothing for a package that the vendor builds itself, so
        -- no release of the distribution could change the state.
        case when not coalesce(vendor_newest.is_newest_rebuild, false) then targets.label end
            as flip_release,
        coalesce(' above ' || vendor_newest.newest_version, '') as flip_above,
        nullif(claims.vendor_version, claims.version) as other_vendor_version,
        'the vendor already ships ' || vendor_newest.newest_version || case
            when vendor_newest.is_newest_rebuild then ', a rebuild of its own, and still lists it'
            else ' and still lists it'
        end as unproven_reason,
    from judged_claims as claims
    inner join rules on claims.claim = rules.claim
    inner join advisory_sources on claims.advisory_id = advisory_sources.advisory_id
    left join vendor_newest on claims.package_key = vendor_newest.package_key
    left join targets on coalesce(advisory_sources.newest_open_rank, 1) = targets.target_rank
    where claims.rank = 1

),

decisions as (

    select
        advisory_id,
        cve_id,
        package_name,
        package_key,
        state,
        state_type,
        case when state = 'fixed' then version end as fixed_version,
        confidence,
        {{ fill_template('explanation_template', explanation_values) }} as explanation,
        {{ is_filled_by('explanation_template', explanation_values) }} as is_explained,
        {{ fill_template('flip_template', {
            'next_state': "replace(next_state, '_', ' ')",
            'next_version': 'next_version',
            'undecided': 'undecided',
            'supporters': 'supporters',
            'flip_release': 'flip_release',
            'flip_above': 'flip_above',
        }) }} as would_flip,
        reason_code,
        rule_id as decision_rule,
        priority,
        source,
        claim,
        record_id,
        record_url,
        record_modified_at,
        source_record,
        version as claimed_version,
        tipped_by_source,
        tipped_by_record,
        contributing_sources,
        dissenting_sources,
    from winning_claims

)

select * from decisions
