-- One row per claim: what a source says about an advisory, its evidence and its verdict.
with judged_claims as (

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
    from judged_claims

)

select * from claims
