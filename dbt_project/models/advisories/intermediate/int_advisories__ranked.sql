-- One row per claim, with its rule and its place among the claims of its advisory. The only model
-- that orders claims; the order is total, so equal inputs always have one winner.
with claims as (

    select * from {{ ref('int_advisories__claims') }}

),

rules as (

    select * from {{ ref('decision_rules') }}

),

ranked as (

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

select * from ranked
