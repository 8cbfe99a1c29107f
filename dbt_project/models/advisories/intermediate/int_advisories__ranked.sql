-- One row per claim, with its rule and its rank among the claims of its advisory.
-- Claims are ordered in this model only. No two claims tie, so equal inputs have the same winner.
with claims as (

    select * from {{ ref('int_advisories__claims') }}

),

rules as (

    select * from {{ ref('decision_rules') }}

),

ranked_claims as (

    select
        claims.*,
        rules.rule_id,
        rules.priority,
        rules.state,
        rules.state_type,
        rules.reason_code,
        rules.confidence,
        rules.dissents,
        row_number() over (
            partition by claims.advisory_id
            order by
                rules.priority,
                claims.source,
                claims.version_key desc nulls last,
                claims.record_id,
                claims.claim
        ) as rank,
    from claims
    left join rules on claims.claim = rules.claim

)

select * from ranked_claims
