-- One row per claim, with its verdict: it won, agreed with the winner, lost to it, or abstained.
-- Only claims of final rules can lose.
with ranked_claims as (

    select * from {{ ref('int_advisories__ranked') }}

),

claims_with_verdict as (

    select
        *,
        case
            when rank = 1 then 'won'
            -- The vendor builds its feed from the rulings: a sentinel, or the version of the
            -- ruling, repeats the ruling and is no second opinion.
            when
                decided_rule = 'R0'
                and source = 'echo'
                and (
                    claim = 'vendor_sentinel'
                    or (version is not null and is_ruling_repeated)
                )
                then 'abstained'
            when state = decided_state then 'agreed'
            when dissents then 'lost'
            else 'abstained'
        end as verdict,
    from ranked_claims

),

judged_claims as (

    select
        *,
        case when verdict in ('lost', 'abstained') then decided_rule end as beaten_by,
    from claims_with_verdict

)

select * from judged_claims
