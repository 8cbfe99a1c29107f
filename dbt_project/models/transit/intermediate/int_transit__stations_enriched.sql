-- One row per station with an answer.
with claims as (

    select * from {{ ref('int_transit__claims') }}

),

enrichments as (

    select
        name_key,
        first(extraction_confidence order by requested_name) as extraction_confidence,
        list_distinct(flatten(list(accessibility_notes order by requested_name)))
            as accessibility_notes,
        max(answered_at) as enriched_at,
        count(*) as claims_count,
        count(*) filter (where claimed_exit_code is not null and len(exit_ids) = 0)
            as unplaced_claims_count,
    from claims
    group by name_key

)

select * from enrichments
