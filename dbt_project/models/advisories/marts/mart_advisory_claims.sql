-- One row per claim: who says what of an advisory, on what evidence, and what became of it.
with judged as (

    select * from {{ ref('int_advisories__judged') }}

),

claims as (

    select
        advisory_id,
        cve_id,
        package_name,
        rank::integer as rank,
        source,
        claim,
        verdict,
        rule_id,
        beaten_by,
        state,
        confidence,
        reason_code,
        version,
        ecosystem,
        release,
        detail,
        record_id,
        record_url,
        record_modified_at,
        source_sha256,
        source_row,
    from judged

)

select * from claims
