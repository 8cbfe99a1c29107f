-- One row per kind of claim: the rule that it belongs to, and what is decided if it wins.
with claims as (

    select * from {{ ref('decision_rules') }}

),

rules as (

    select * from {{ ref('rule_descriptions') }}

),

site_rules as (

    select
        claims.claim,
        claims.priority,
        claims.rule_id as rule,
        rules.title,
        rules.description,
        claims.state,
        claims.confidence,
        lower(replace(claims.reason_code, '_', ' ')) as reason,
        claims.explanation_template as sentence,
    from claims
    left join rules on claims.rule_id = rules.rule_id

)

select * from site_rules
