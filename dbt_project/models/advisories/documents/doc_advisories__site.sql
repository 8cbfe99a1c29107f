-- One row per advisory: an entry on the page of its package, with its evidence and its history.
-- No column moves while the decision and what is said about it stay the same, so that the pages of
-- unchanged packages are not written again.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

decisions as (

    select * from {{ ref('int_advisories__decided') }}

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

nvd as (

    select * from {{ ref('int_advisories__nvd_merged') }}

),

states as (

    select * from {{ ref('advisory_states') }}

),

evidence as (

    select * from {{ ref('int_advisories__evidence') }}

),

past_states as (

    select * from {{ ref('int_advisories__past_states') }}

),

site as (

    select
        statements.package_name as page,
        statements.cve_id as entry,
        case
            when statements.cve_id like 'CVE-____-%' then left(statements.cve_id, 8)
            else split_part(statements.cve_id, '-', 1)
        end as entry_group,
        statements.state,
        states.badness as state_rank,
        decisions.state_type = 'non_final' as is_open,
        case when evidence.is_known_exploited then 'known exploited' end as badge,
        statements.fixed_version as answer,
        statements.explanation as sentence,
        statements.action,
        decisions.would_flip as flip,
        statements.page_url as entry_url,
        statements.record_url,
        struct_pack(
            severity := lower(coalesce(universe.vendor_severity, nvd.cvss_severity)),
            cvss := nvd.cvss_score,
            confidence := decisions.confidence,
            reason := lower(replace(decisions.reason_code, '_', ' '))
        ) as facts,
        decisions.decision_rule as rule,
        evidence.statements,
        past_states.periods,
    from statements
    inner join decisions on statements.advisory_id = decisions.advisory_id
    inner join universe on statements.advisory_id = universe.advisory_id
    inner join evidence on statements.advisory_id = evidence.advisory_id
    inner join past_states on statements.advisory_id = past_states.advisory_id
    inner join states on statements.state = states.state
    left join nvd on statements.advisory_id = nvd.advisory_id

)

select * from site
