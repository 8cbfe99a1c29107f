-- One row per claim, with its rule, its rank among the claims of its advisory, and what the claim
-- of rank 1 decides. Claims are ordered in this model only, and no two tie: equal inputs have the
-- same winner. One sort serves all windows: groups that are joined take a fifth longer and 55 MB.
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
        row_number() over best_first as rank,
        first_value(rules.state) over best_first as decided_state,
        first_value(rules.rule_id) over best_first as decided_rule,
        bool_or(claims.is_repeated_by_vendor)
            over (best_first rows between unbounded preceding and unbounded following)
            as is_ruling_repeated,
    from claims
    left join rules on claims.claim = rules.claim
    window best_first as (
        partition by claims.advisory_id
        order by
            rules.priority,
            claims.source,
            claims.version_key desc nulls last,
            claims.record_id,
            claims.claim
    )

)

select * from ranked_claims
