-- One row per claim: what one source says about an advisory, with its evidence.
-- Sometimes the record of a second source decides which of two claims a record makes; tipped_by_*
-- then names the second record. A new kind of claim takes a model int_advisories__<kind>_claims, a
-- line in the union below and a row in the seed decision_rules.
with universe as (

    select * from {{ ref('int_advisories__universe') }}

),

versions as (

    select * from {{ ref('int_advisories__versions') }}

),

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

all_claims as (

    select * from {{ ref('int_advisories__ruling_claims') }}
    union all by name
    select * from {{ ref('int_advisories__nvd_claims') }}
    union all by name
    select * from {{ ref('int_advisories__vendor_claims') }}
    union all by name
    select * from {{ ref('int_advisories__distribution_claims') }}
    union all by name
    select * from {{ ref('int_advisories__exploited_claims') }}
    union all by name
    select * from {{ ref('int_advisories__listing_claims') }}

),

claims as (

    select
        all_claims.*,
        universe.cve_id,
        universe.package_name,
        universe.package_key,
        universe.is_listed,
        universe.vendor_version,
        versions.version_key,
        claim_sources.label as source_label,
        replace(
            replace(claim_sources.record_url, '{cve_id}', universe.cve_id),
            '{record_id}', all_claims.record_id
        ) as record_url,
    from all_claims
    inner join universe on all_claims.advisory_id = universe.advisory_id
    inner join claim_sources on all_claims.source = claim_sources.source
    left join versions
        on
            universe.package_key = versions.package_key
            and all_claims.version = versions.version

)

select * from claims
