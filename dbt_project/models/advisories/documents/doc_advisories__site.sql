-- One row per advisory: an entry on the page of its package, with its evidence and its history.
-- No column moves while the decision and what is said about it stay the same, so that the pages of
-- unchanged packages are not written again.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

decisions as (

    select * from {{ ref('int_advisories__decided') }}

),

judged_claims as (

    select * from {{ ref('int_advisories__judged') }}

),

periods as (

    select * from {{ ref('mart_advisory_state_history') }}

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

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

-- `list_sort` takes the first field of a struct first; an ordered aggregate needs more memory.
evidence as (

    select
        judged_claims.advisory_id,
        bool_or(judged_claims.claim = 'known_exploited') as is_known_exploited,
        list_sort(array_agg(
            struct_pack(
                rank := judged_claims.rank,
                verdict := judged_claims.verdict,
                source := claim_sources.label,
                claim := judged_claims.claim,
                rule := judged_claims.rule_id,
                detail := nullif(
                    concat_ws(
                        ', ',
                        judged_claims.version,
                        judged_claims.detail,
                        'ruled by ' || judged_claims.author,
                        'until ' || strftime(
                            make_timestamp(epoch_us(judged_claims.valid_until)),
                            '%Y-%m-%d %H:%M UTC'
                        )
                    ),
                    ''
                ),
                record := judged_claims.record_id,
                record_url := judged_claims.record_url
            )
        )) as statements,
    from judged_claims
    left join claim_sources on judged_claims.source = claim_sources.source
    group by judged_claims.advisory_id

),

past_states as (

    select
        periods.advisory_id,
        list_sort(array_agg(
            struct_pack(
                since := periods.effective_from,
                until := periods.effective_to,
                state := periods.state,
                answer := periods.fixed_version,
                confidence := periods.confidence,
                cause := periods.cause,
                source := claim_sources.label,
                record := periods.cause_record
            )
        )) as periods,
    from periods
    left join claim_sources on periods.cause_source = claim_sources.source
    group by periods.advisory_id

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
