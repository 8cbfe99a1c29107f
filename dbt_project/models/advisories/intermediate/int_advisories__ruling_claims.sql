-- One row per advisory to which a ruling of the analysts applies.
with rulings as (

    select * from {{ ref('int_advisories__rulings_matched') }}

),

ruling_claims as (

    select
        advisory_id,
        'overrides' as source,
        'override_' || status as claim,
        case when status = 'fixed' then fixed_version end as version,
        reason as detail,
        expires_at as valid_until,
        ruled_by as author,
        record_id,
        source_record,
        coalesce(fixed_version = vendor_version, false) as is_repeated_by_vendor,
    from rulings

)

select * from ruling_claims
