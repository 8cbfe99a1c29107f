-- One row per claim, with what became of it: won, agreed with the winner, lost to it, or abstained.
-- Only a final rule dissents. A vendor's claim that repeats the ruling it was built from is no
-- second witness and abstains.
with ranked as (

    select * from {{ ref('int_advisories__ranked') }}

),

with_winner as (

    select
        *,
        first_value(state) over by_rank as decided_state,
        first_value(rule_id) over by_rank as decided_rule,
        bool_or(is_repeated_by_vendor) over (partition by advisory_id) as is_ruling_repeated,
    from ranked
    window by_rank as (partition by advisory_id order by rank)

),

judged as (

    select
        *,
        case
            when rank = 1 then 'won'
            when
                decided_rule = 'R0'
                and source = 'echo'
                and (claim = 'vendor_sentinel' or (version is not null and is_ruling_repeated))
                then 'abstained'
            when state = decided_state then 'agreed'
            when dissents then 'lost'
            else 'abstained'
        end as verdict,
        min(case when state != decided_state then rank end)
            over (partition by advisory_id) as next_state_rank,
    from with_winner

),

with_loser as (

    select
        *,
        case when verdict in ('lost', 'abstained') then decided_rule end as beaten_by,
    from judged

)

select * from with_loser
