-- One row per advisory: the packages that its statement names. Those are the source package, and
-- with a package index each binary package of it. A statement on a fix names versions: the first
-- fixed one, and each published one at or above it. Any other statement names packages in all
-- versions, except for a binary package that several sources build, or that has the name of another
-- source: of that it names the versions that were built from its source.
with statements as (

    select
        advisory_id,
        package_name,
        package_key,
        fixed_version,
    from {{ ref('int_advisories__statements') }}

),

published as (

    select distinct
        package_key,
        source_version,
        binary_name,
        binary_key,
        binary_version,
    from {{ ref('stg_advisories__packages') }}

),

versions as (

    select fixed_version as version from statements
    union
    select source_version as version from published
    union
    select binary_version as version from published

),

-- Advisories share versions, and a key is dear.
version_keys as (

    select
        version,
        {{ deb_key('version') }} as version_key,
    from versions
    where version is not null

),

fixed_in as (

    select distinct
        statements.fixed_version,
        published.package_key,
        published.source_version,
    from statements
    inner join published on statements.package_key = published.package_key
    inner join version_keys as fixed on statements.fixed_version = fixed.version
    inner join version_keys as built on published.source_version = built.version
    where fixed.version_key <= built.version_key

),

-- A version that several sources build, on other architectures, is named by no statement: one
-- package URL would be in those on each source.
ambiguous as (

    select
        binary_key,
        binary_version,
    from published
    group by binary_key, binary_version
    having count(distinct package_key) > 1

),

binaries as (

    select
        published.binary_key,
        count(distinct published.package_key) > 1
        or (
            max(published.package_key) != published.binary_key
            and published.binary_key in (select statements.package_key from statements)
        ) as is_shared,
    from published
    group by published.binary_key

),

source_products as (

    select
        statements.advisory_id,
        true as is_source,
        statements.package_name as name,
        statements.fixed_version as version,
        statements.package_key as name_key,
    from statements
    union
    select
        statements.advisory_id,
        true as is_source,
        statements.package_name as name,
        fixed_in.source_version as version,
        statements.package_key as name_key,
    from statements
    inner join fixed_in
        on
            statements.package_key = fixed_in.package_key
            and statements.fixed_version = fixed_in.fixed_version

),

binary_products as (

    select distinct
        statements.advisory_id,
        false as is_source,
        published.binary_name as name,
        case
            when statements.fixed_version is not null or binaries.is_shared
                then published.binary_version
        end as version,
        published.binary_key as name_key,
    from statements
    inner join published on statements.package_key = published.package_key
    inner join binaries on published.binary_key = binaries.binary_key
    anti join ambiguous
        on
            published.binary_key = ambiguous.binary_key
            and published.binary_version = ambiguous.binary_version
    left join fixed_in
        on
            statements.package_key = fixed_in.package_key
            and statements.fixed_version = fixed_in.fixed_version
            and published.source_version = fixed_in.source_version
    where statements.fixed_version is null or fixed_in.source_version is not null

),

named as (

    select * from source_products
    union all
    select * from binary_products

),

products as (

    select
        named.advisory_id,
        named.is_source,
        named.name,
        named.version,
        -- A binary package of this name that another source builds is another product.
        case
            when named.is_source and binaries.is_shared then 'source'
        end as arch,
    from named
    left join binaries on named.name_key = binaries.binary_key
    qualify row_number() over (
        partition by named.advisory_id, named.name_key, named.version, arch
        order by named.is_source desc, named.name
    ) = 1

),

listed as (

    select
        products.advisory_id,
        array_agg(
            struct_pack(name := products.name, version := products.version, arch := products.arch)
            order by
                products.is_source desc, products.name, version_keys.version_key, products.version
        ) as products,
    from products
    left join version_keys on products.version = version_keys.version
    group by products.advisory_id

)

select * from listed
