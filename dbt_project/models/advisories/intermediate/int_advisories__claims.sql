-- One row per claim: what one source says about an advisory, with its evidence. Where a second
-- source's record decides between two claims, that record is in tipped_by_*. A new signal is one
-- model int_advisories__<signal>_claims, one line of the union and one row of decision_rules.
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

linked as (

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
    left join versions on all_claims.version = versions.version

)

select * from linked
