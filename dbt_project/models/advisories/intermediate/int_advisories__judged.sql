-- One row per claim, with its verdict: it won, agreed with the winner, lost to it, or abstained.
-- Only claims of final rules can lose.
with ranked_claims as (

    select * from {{ ref('int_advisories__ranked') }}

),

-- Groups and joins of few columns take half the time of windows, which sort all columns.
winners as (

    select
        advisory_id,
        any_value(state) filter (where rank = 1) as decided_state,
        any_value(rule_id) filter (where rank = 1) as decided_rule,
        bool_or(is_repeated_by_vendor) as is_ruling_repeated,
    from ranked_claims
    group by advisory_id

),

next_states as (

    select
        ranked_claims.advisory_id,
        min(ranked_claims.rank) as next_state_rank,
    from ranked_claims
    inner join winners on ranked_claims.advisory_id = winners.advisory_id
    where ranked_claims.state != winners.decided_state
    group by ranked_claims.advisory_id

),

claims_with_verdict as (

    select
        ranked_claims.*,
        winners.decided_state,
        winners.decided_rule,
        winners.is_ruling_repeated,
        case
            when ranked_claims.rank = 1 then 'won'
            -- The vendor builds its feed from the rulings: a sentinel, or the version of the
            -- ruling, repeats the ruling and is no second opinion.
            when
                winners.decided_rule = 'R0'
                and ranked_claims.source = 'echo'
                and (
                    ranked_claims.claim = 'vendor_sentinel'
                    or (ranked_claims.version is not null and winners.is_ruling_repeated)
                )
                then 'abstained'
            when ranked_claims.state = winners.decided_state then 'agreed'
            when ranked_claims.dissents then 'lost'
            else 'abstained'
        end as verdict,
        next_states.next_state_rank,
    from ranked_claims
    inner join winners on ranked_claims.advisory_id = winners.advisory_id
    left join next_states on ranked_claims.advisory_id = next_states.advisory_id

),

judged_claims as (

    select
        *,
        case when verdict in ('lost', 'abstained') then decided_rule end as beaten_by,
    from claims_with_verdict

)

select * from judged_claims
