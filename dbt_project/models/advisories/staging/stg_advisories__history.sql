-- One row per advisory and period, as last published. Empty before the first publication.
with source as (

    select * from {{ source('build', 'history') }}

),

renamed as (

    select
        advisory_id,
        cve_id,
        package_name,
        {{ fold_case('package_name') }} as package_key,
        state,
        state_type,
        fixed_version,
        confidence,
        reason_code,
        decision_rule,
        opened_by_claim,
        opened_by_source,
        opened_by_record,
        opened_by_sha256,
        opened_by_version,
        tipped_by_source,
        tipped_by_record,
        cause,
        cause_source,
        cause_record,
        spelled_at,
        effective_from,
        effective_to,
        is_current,
    from source

)

select * from renamed
