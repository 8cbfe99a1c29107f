-- One row per advisory: its states until now, as the site shows them, in a list.
with periods as (

    select * from {{ ref('mart_advisory_state_history') }}

),

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

past_states as (

    select
        periods.advisory_id,
        {{ fold_case('periods.package_name') }} as package_key,
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
    group by periods.advisory_id, {{ fold_case('periods.package_name') }}

)

select * from past_states
